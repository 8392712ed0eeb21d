//! pileus-bulk
