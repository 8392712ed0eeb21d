//! pileus-wire
