//! pileus-balancing
