//! pileus-contract
