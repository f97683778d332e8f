//! Where metrics are told: at an address, or in a file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where metrics are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To whoever asks there.
    Address(SocketAddr),
    /// In a file that the textfile collector of node_exporter reads.
    File(PathBuf),
}

impl FromStr for Target {
    type Err = &'static str;

    /// The textfile collector reads files of that ending only, and no address has it.
    fn from_str(text: &str) -> Result<Target, &'static str> {
        if text.ends_with(".prom") {
            return Ok(Target::File(text.into()));
        }
        let address = text.parse().map(Target::Address);
        address.map_err(|_| "should be an address, such as 127.0.0.1:9117, or a file, such as /var/lib/havana.prom")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_or_a_file() {
        let is_address = |text: &str| matches!(text.parse(), Ok(Target::Address(_)));
        assert!(["127.0.0.1:9117", "[::1]:0", "0.0.0.0:1"].iter().all(|text| is_address(text)));
        assert_eq!("a/1:2.prom".parse(), Ok(Target::File("a/1:2.prom".into())));
        for wrong in ["9117", "localhost:9117", "127.0.0.1", "metrics.txt", "", "127.0.0.1:66000"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }
}
