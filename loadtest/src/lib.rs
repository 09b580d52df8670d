//! Load for a solelog, every answer verified.
