//! What comes to the loop from outside of its sockets: signals, and values of other threads.
//!
//! A part of the loop. PHP has no counterpart: there a signal ends the process.

use mio::Interest;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

use super::{SIGNALS, WebSocketServer};
use crate::error::StartError;
use crate::tls::Tls;

impl WebSocketServer {
    /// Lets SIGTERM and SIGINT stop the server, a second one at once, and SIGHUP reload the
    /// certificate and the tokens and call `on_hangup`.
    pub fn handle_signals(&mut self, on_hangup: impl FnMut() + 'static) -> Result<(), StartError> {
        let failed = |error| StartError::new("signals", error);
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(failed)?;
        self.poll.registry().register(&mut signals, SIGNALS, Interest::READABLE).map_err(failed)?;
        self.signals = Some(signals);
        self.on_hangup = Some(Box::new(on_hangup));
        Ok(())
    }

    /// Another thread woke the loop: it has values for applications, or wants the server to stop.
    pub(super) fn woken(&mut self) {
        while let Some((app, value)) = self.wakers.next() {
            self.all_apps.call(app, &mut self.server, None, |app, server| app.on_wake(server, value));
        }
        if self.wakers.asks_to_stop() {
            self.stop();
        }
    }

    pub(super) fn signalled(&mut self) {
        let pending: Vec<i32> = self.signals.iter_mut().flat_map(Signals::pending).collect();
        for signal in pending {
            match signal {
                SIGHUP => self.reload(),
                _ => self.stop(),
            }
        }
    }

    fn reload(&mut self) {
        self.reloading();
        if let Some(on_hangup) = &mut self.on_hangup {
            on_hangup();
        }
        match self.tls.as_mut().map(Tls::reload) {
            Some(Ok(())) => log::info!(target: "phpws", "Certificate reloaded"),
            Some(Err(error)) => log::error!(target: "phpws", "Certificate not reloaded, the old one stays: {error}"),
            None => {}
        }
        self.reloaded();
    }
}
