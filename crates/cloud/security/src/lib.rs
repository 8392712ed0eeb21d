//! pileus-security
