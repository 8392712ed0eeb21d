//! pileus-delivery
