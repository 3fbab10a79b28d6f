//! UDP sockets.
#![allow(unsafe_code)]
