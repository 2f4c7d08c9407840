//! What can go wrong with the zones' network.

use std::io;

use zoned_api::ApiError;

use crate::{ebpf::EbpfError, store::StoreError};

/// A step that failed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// A link, an address or a route.
    #[error("network: cannot {doing} {object}")]
    Link {
        /// What was to be done.
        doing: &'static str,
        /// To what.
        object: String,
        /// Why not.
        source: io::Error,
    },
    /// The firewall's program.
    #[error("network: nft cannot be run; install the package nftables")]
    NoNft(#[source] io::Error),
    /// The firewall's rules.
    #[error("network: nft refuses the firewall's rules: {0}")]
    Nft(String),
    /// Every private network is in use.
    #[error(
        "network: every private network meets a route of this host; start zoned with --network and one that does not"
    )]
    NoNetwork,
    /// The zones' network is one of the host's own.
    #[error(
        "network: the host has a route to {route}, which is in the zones' network, {net}; start zoned with --network (or \
         --network6) and one that no route leads into"
    )]
    Taken {
        /// The zones' network.
        net: ipnet::IpNet,
        /// Where the host's route leads.
        route: ipnet::IpNet,
    },
    /// The bridge's name is taken.
    #[error("network: {0} is not the bridge of this zoned; start it with --bridge and another name")]
    Foreign(String),
    /// The zone's first process.
    #[error("network: the zone's first process is gone")]
    Gone,
    /// Its configuration cannot be had here.
    #[error("{0}")]
    Claim(String),
    /// Nor with those of the other zones.
    #[error("{0}")]
    Others(String),
    /// A port of the host's own.
    #[error(
        "network: {forward} of the host is to lead to the zone, and a process of the host's serves there; end it, or give \
         `forward` another port, or an `address` that it does not serve"
    )]
    Served {
        /// As it is written.
        forward: String,
    },
    /// The programs that guard and count.
    #[error("network: an interface cannot be guarded")]
    Guard(#[from] EbpfError),
    /// What is kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl NetworkError {
    /// For a client.
    pub fn to_api(&self) -> ApiError {
        match self {
            Self::Claim(why) => ApiError::invalid(why.clone(), None),
            Self::Others(why) => {
                ApiError::invalid(why.clone(), Some("`zonectl info ZONE` shows what a zone has".into()))
            }
            other => crate::fault::failed(other),
        }
    }

    pub(super) fn link(doing: &'static str, object: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let object = object.into();
        move |source| Self::Link { doing, object, source }
    }
}
