//! pileus-state
