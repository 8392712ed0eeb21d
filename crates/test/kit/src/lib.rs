//! pileus-kit
