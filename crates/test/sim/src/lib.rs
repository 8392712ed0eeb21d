//! pileus-sim
