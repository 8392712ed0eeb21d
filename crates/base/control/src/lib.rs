//! pileus-control
