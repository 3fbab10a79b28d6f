//! Receiving: datagrams from UDP sockets or captures.
