//! Issues and renews ACM's certificates, and keeps the authority's certificate where clients find it: `ca.pem`.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use pileus_certificates::Authority;
use pileus_control::{Loop, Turn};
use pileus_core::{Clock as _, SystemClock, Timestamp};

use crate::api::Engine;
use crate::issuer;

pub(super) struct Certificates {
    engine: Arc<Engine>,
    /// Where the authority's certificate is put.
    ca: PathBuf,
}

impl Certificates {
    pub(super) fn new(engine: Arc<Engine>, ca: PathBuf) -> Self {
        Self { engine, ca }
    }

    /// The authority, made when it is first needed.
    fn authority(&self) -> Result<Authority, String> {
        let known = pileus_certificates::authority(&self.engine.db.snapshot());
        let authority = match known {
            Some(known) => known,
            None => {
                let name = self.engine.ids(|ids| ids.hex(6));
                let made = issuer::authority(&name, clients_now()).map_err(|error| error.to_string())?;
                self.engine.transact(|tx, _| {
                    pileus_certificates::keep_authority(tx, made.clone());
                    Ok(())
                })?;
                made
            }
        };
        self.publish(&authority).map_err(|error| format!("{}: {error}", self.ca.display()))?;
        Ok(authority)
    }

    fn publish(&self, authority: &Authority) -> io::Result<()> {
        if fs::read_to_string(&self.ca).is_ok_and(|text| text == authority.certificate) {
            return Ok(());
        }
        let new = self.ca.with_extension("pem.new");
        fs::write(&new, &authority.certificate)?;
        fs::rename(new, &self.ca)
    }
}

impl Loop for Certificates {
    fn name(&self) -> &'static str {
        "certificates"
    }

    fn run(&mut self, now: Timestamp) -> Result<Turn, String> {
        for order in pileus_certificates::orders(&self.engine.db.snapshot(), now) {
            let authority = self.authority()?;
            let issued = issuer::issue(&authority, &order, clients_now());
            self.engine.transact(|tx, _| match issued {
                Ok(issued) => pileus_certificates::settle(tx, &order, issued, &authority.certificate, now),
                Err(error) => {
                    tracing::error!(%error, names = ?order.names, "a certificate could not be issued");
                    pileus_certificates::reject(tx, &order, &error.to_string());
                    Ok(())
                }
            })?;
        }
        Ok(Turn { wake_at: pileus_certificates::next_renewal(&self.engine.db.snapshot()) })
    }
}

/// Clients look at certificates by the machine's time, whatever the engine's clock says.
fn clients_now() -> Timestamp {
    SystemClock::new(1.0).now()
}
