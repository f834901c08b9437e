//! Whole networks in one process or in network namespaces.
