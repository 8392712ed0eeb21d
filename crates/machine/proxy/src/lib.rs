//! pileus-proxy
