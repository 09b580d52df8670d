//! SCAL3 records, credentials and their verification, over public bytes.
