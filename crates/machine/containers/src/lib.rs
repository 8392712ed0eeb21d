//! pileus-containers
