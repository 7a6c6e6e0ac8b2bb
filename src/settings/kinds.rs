//! Reads each kind of setting from text, and formats it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::units;

/// A type of setting.
pub(super) trait Kind: Sized {
    /// Reads the given values: one, except for lists.
    fn read(values: &[String]) -> Result<Self, String>;
    /// Formats them.
    fn show(&self) -> Vec<String>;
}

fn one(values: &[String]) -> Result<&str, String> {
    match values {
        [value] => Ok(value),
        _ => Err(format!("takes one value, but {} were given", values.len())),
    }
}

/// Types with their own text form.
macro_rules! plain {
    ($type:ty, $what:literal) => {
        impl Kind for $type {
            fn read(values: &[String]) -> Result<Self, String> {
                let text = one(values)?;
                text.parse().map_err(|_| format!("`{text}` is not {}", $what))
            }
            fn show(&self) -> Vec<String> {
                vec![self.to_string()]
            }
        }
    };
}

plain!(String, "text");
plain!(bool, "true or false");
plain!(usize, "a number of 0 or more");
plain!(u32, "a number of 0 to 4294967295");
plain!(
    SocketAddr,
    "an address with a port, for example 127.0.0.1:50051 or [::1]:50051"
);

impl Kind for PathBuf {
    fn read(values: &[String]) -> Result<Self, String> {
        one(values).map(Self::from)
    }
    fn show(&self) -> Vec<String> {
        vec![self.display().to_string()]
    }
}

impl Kind for Duration {
    fn read(values: &[String]) -> Result<Self, String> {
        units::parse_duration(one(values)?)
    }
    fn show(&self) -> Vec<String> {
        vec![units::show_duration(*self)]
    }
}

impl<T: Kind> Kind for Option<T> {
    fn read(values: &[String]) -> Result<Self, String> {
        T::read(values).map(Some)
    }
    fn show(&self) -> Vec<String> {
        self.as_ref().map(T::show).unwrap_or_default()
    }
}

impl<T: Kind> Kind for Vec<T> {
    fn read(values: &[String]) -> Result<Self, String> {
        values
            .iter()
            .map(|value| T::read(std::slice::from_ref(value)))
            .collect()
    }
    fn show(&self) -> Vec<String> {
        self.iter().flat_map(T::show).collect()
    }
}

/// A number of bytes: a plain number in `Options`, read with units.
pub(super) fn read_size(values: &[String]) -> Result<usize, String> {
    units::parse_size(one(values)?)
}

/// Formats a number of bytes with its unit.
pub(super) fn show_size(bytes: &usize) -> Vec<String> {
    vec![units::show_size(*bytes)]
}

/// DNS servers, with an optional port.
pub(super) fn read_dns_servers(values: &[String]) -> Result<Vec<SocketAddr>, String> {
    values
        .iter()
        .map(|text| match text.parse::<std::net::IpAddr>() {
            Ok(address) => Ok(SocketAddr::new(address, 53)),
            Err(_) => SocketAddr::read(std::slice::from_ref(text)),
        })
        .collect()
}
