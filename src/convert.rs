//! The corridor: from a reference to a published image, one room after the other.
