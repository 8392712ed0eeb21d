//! pileus-cli
