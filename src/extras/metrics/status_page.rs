//! The resource `/status`: what the server counts, once a second, for the status page.
//!
//! Only pages that the server itself delivered, in browsers on allowed hosts, may watch. While nobody
//! does there is no timer. The PHP original has no counterpart.

use std::time::Duration;

use crate::client::Client;
use crate::extras::metrics;
use crate::ids::SocketId;
use crate::resource::Resource;
use crate::rfc6455::CloseCode;
use crate::server::Server;

/// Time between two pictures.
const STATUS_PERIOD: Duration = Duration::from_secs(1);

/// The application behind the status page.
#[derive(Default)]
pub struct ResourceStatus {
    watchers: Vec<SocketId>,
    /// Whether a timer is set.
    ticking: bool,
}

impl Resource for ResourceStatus {
    fn on_open(&mut self, server: &mut Server, id: SocketId) {
        if !server.client(id).is_some_and(may_watch) {
            return server.close_with(id, CloseCode::POLICY_VIOLATION, "Only allowed hosts may watch");
        }
        self.watchers.push(id);
        let picture = metrics::picture(server);
        server.write(id, &picture);
        if !std::mem::replace(&mut self.ticking, true) {
            server.call_after(STATUS_PERIOD, 0);
        }
    }

    fn on_close(&mut self, _server: &mut Server, id: SocketId) {
        self.watchers.retain(|watcher| *watcher != id);
    }

    fn on_timer(&mut self, server: &mut Server, _tag: u64) {
        self.ticking = !self.watchers.is_empty();
        if self.ticking {
            let picture = metrics::picture(server);
            server.write_all(&self.watchers, &picture);
            server.call_after(STATUS_PERIOD, 0);
        }
    }

    fn dialog(&self) -> bool {
        false
    }

    fn trusts_own_host(&self) -> bool {
        true
    }

    fn keeps_request(&self) -> bool {
        false
    }
}

/// Whether a browser is on the server's own host or an allowed one, and shows a page from this server.
fn may_watch(client: &Client) -> bool {
    let Some(request) = client.request() else { return false };
    let origin = request.header("origin").and_then(|origin| origin.split_once("://"));
    client.from_ours && origin.is_some_and(|(_, host)| request.header("host") == Some(host))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::limits::Limits;
    use crate::resource::AllApps;

    fn after_a_tick(watchers: Vec<SocketId>) -> bool {
        let mut all_apps = AllApps::default();
        all_apps.insert("/status", Box::new(ResourceStatus { watchers, ticking: true }));
        let now = Instant::now();
        let mut server = Server::new(Limits::default(), now);
        let app = all_apps.find("/status").unwrap();
        all_apps.call(app, &mut server, None, |app, server| app.on_timer(server, 0));
        server.deadlines.sleep(now).is_some()
    }

    #[test]
    fn there_is_a_timer_while_somebody_watches_and_not_longer() {
        assert!(after_a_tick(vec![SocketId::default()]));
        assert!(!after_a_tick(Vec::new()));
    }
}
