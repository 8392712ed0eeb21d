//! pileus-store
