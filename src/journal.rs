//! The journal: every datagram on disk before it is decoded.
