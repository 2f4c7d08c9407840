//! Zones with a network. The daemon runs in a network namespace that plays the host, another one plays the outside:
//! nothing of the machine's own network is touched.

mod addresses;
mod image;
mod metering;
mod modes;
mod online;
mod outside;
mod refused;
mod scene;
mod separation;
mod servers;
mod spoofing;
