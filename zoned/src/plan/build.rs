//! From configuration, brand and identity to a [`Plan`](super::Plan): pure, and tested as such.
