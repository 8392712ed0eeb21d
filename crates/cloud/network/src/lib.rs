//! pileus-network
