//! Both halves of the SCAL3 authentication: the only crate with secrets.
