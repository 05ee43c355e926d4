//! EROFS, written in one pass and read back by a reader that shares no code with the writer.
