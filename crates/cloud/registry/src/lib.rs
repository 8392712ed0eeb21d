//! pileus-registry
