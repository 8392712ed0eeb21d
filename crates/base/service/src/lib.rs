//! How an operation meets its handler.
