//! pileus-compute
