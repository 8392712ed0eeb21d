//! pileus-model
