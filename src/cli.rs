//! The command line's words, and nothing that they mean.
