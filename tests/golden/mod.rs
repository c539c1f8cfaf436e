//! What the golden SQL suite is made of: the file format, comparing, and the matrix a case runs through.

pub mod compare;
pub mod execute;
pub mod format;
pub mod matrix;
