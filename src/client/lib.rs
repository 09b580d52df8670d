//! The subscriber's library and the command sole.
