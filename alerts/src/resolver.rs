//! Name resolution that yields only addresses webhooks may go to.
//!
//! The HTTP client connects to exactly what this resolver returns, so what was checked is what is
//! connected to, also when a name changes its addresses between two look-ups (DNS rebinding).

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::address::refusal;

/// The system's resolver behind the filter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FilteringResolver {
    pub(crate) allow_private_addresses: bool,
}

/// A name that leads to no address that may be called.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error("`{name}` has no address")]
    Nothing { name: String },
    #[error(
        "`{name}` has only addresses that webhooks do not go to (one is {class}); \
         set allow_private_addresses to send there"
    )]
    Refused { name: String, class: &'static str },
}

impl Resolve for FilteringResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let filter = *self;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let addresses = filter.filtered(name.as_str(), found)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

impl FilteringResolver {
    fn filtered(
        self,
        name: &str,
        mut found: Vec<SocketAddr>,
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        let name = name.to_owned();
        if found.is_empty() {
            return Err(ResolveError::Nothing { name });
        }
        if self.allow_private_addresses {
            return Ok(found);
        }
        let first = found.iter().find_map(|address| refusal(address.ip()));
        found.retain(|address| refusal(address.ip()).is_none());
        match first {
            Some(class) if found.is_empty() => Err(ResolveError::Refused { name, class }),
            Some(_) | None => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn refused_addresses_are_left_out() {
        let filter = FilteringResolver { allow_private_addresses: false };
        let mixed = addresses(&["10.0.0.1:0", "8.8.8.8:0", "[::1]:0"]);
        assert_eq!(filter.filtered("x", mixed), Ok(addresses(&["8.8.8.8:0"])));
        let private = addresses(&["10.0.0.1:0", "[::1]:0"]);
        let refused = ResolveError::Refused { name: "x".into(), class: "private" };
        assert_eq!(filter.filtered("x", private.clone()), Err(refused));
        assert_eq!(filter.filtered("x", vec![]), Err(ResolveError::Nothing { name: "x".into() }));
        let open = FilteringResolver { allow_private_addresses: true };
        assert_eq!(open.filtered("x", private.clone()), Ok(private));
    }
}
