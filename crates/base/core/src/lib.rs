//! pileus-core
