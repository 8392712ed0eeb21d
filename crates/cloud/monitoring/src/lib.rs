//! pileus-monitoring
