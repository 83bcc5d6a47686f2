//! Where a client may come from: a browser from allowed origins, a backend from allowed hosts.
//!
//! A part of the loop. Which host is the server's own is decided in `own_host.rs`, for the optional parts too. PHP
//! counterpart: `allowedIP` and `allowedOrigins` in `specificChecks`.

use std::net::IpAddr;

use super::WebSocketServer;
use crate::client::MAX_IDENT;
use crate::forwarded::ClientAddress;
use crate::ids::{ClientType, SocketId};
use crate::own_host::{NotOurs, OwnHost, Warning};
use crate::printable::Printable;
use crate::resource::AppOptions;
use crate::rfc6455::{Reason, Refusal, Request};
use crate::tls::Tls;

impl WebSocketServer {
    /// Where a request on this connection comes from.
    pub(crate) fn came_from(&self, id: SocketId, request: &Request) -> ClientAddress {
        ClientAddress::of(request, self.server.clients[id].address(), self.server.limits())
    }

    /// What is known of the server's own host on this connection.
    pub(crate) fn own_host(&self, id: SocketId) -> OwnHost<'_> {
        let certified = self.tls.as_ref().map_or(&[][..], Tls::names);
        OwnHost { own: self.sockets[id].own_ip(), limits: self.server.limits(), certified }
    }

    /// Checks a client by its request, and keeps what is known of it.
    #[doc(alias = "allowedIP")]
    pub(super) fn check_origin(
        &mut self,
        id: SocketId,
        client_type: ClientType,
        request: &Request,
        options: AppOptions,
    ) -> Result<(), Refusal> {
        let from = self.came_from(id, request);
        let ours = self.own_host(id).admits(from);
        self.named(id, from.ip);
        let client = &mut self.server.clients[id];
        (client.way, client.from_ours) = (from.way, ours.is_ok());
        if request.values("ident").any(|ident| ident.len() > MAX_IDENT) {
            return Err(Refusal::bad_request(format!("The header ident is over {MAX_IDENT} bytes")));
        }
        let origin = request.header("origin").unwrap_or_default();
        match (client_type, ours) {
            (ClientType::Websocket, _) if !self.server.limits().allows_origin(origin) => {
                log::info!("{id}, Rejected missing or invalid origin: {}", Printable(origin));
                Err(Refusal::forbidden(Reason::Origin, "This origin is not allowed"))
            }
            (ClientType::Websocket, _) => self.check_browser(id, from, request, options),
            (_, Ok(())) => Ok(()),
            (_, Err(why)) => {
                log::info!("{id}, No connection allowed from: {}", from.ip);
                self.warn(id, Warning::NotOurs(why), from.ip, request);
                Err(Refusal::forbidden(Reason::Address, why.text("No connection allowed from this address")))
            }
        }
    }

    /// A browser may connect, whatever its host. Its `Ident` counts as that of a backend would, and a resource that
    /// trusts this host is not for somebody's page.
    fn check_browser(
        &mut self,
        id: SocketId,
        from: ClientAddress,
        request: &Request,
        options: AppOptions,
    ) -> Result<(), Refusal> {
        if options.trusts_own_host
            && let Err(why @ (NotOurs::Page | NotOurs::Name)) = self.own_host(id).admits_request(from, request)
        {
            self.warn(id, Warning::NotOurs(why), from.ip, request);
            return Err(Refusal::forbidden(Reason::Address, why.text("")));
        }
        let named = request.header("ident").is_some_and(|ident| !ident.is_empty());
        if named && !self.server.clients[id].from_ours {
            self.warn(id, Warning::Ident, from.ip, request);
        }
        Ok(())
    }

    /// A client without a request: backends come from the server's own host or from allowed ones.
    pub(super) fn allows_backend(&self, id: SocketId) -> bool {
        let from = self.server.clients[id].address();
        let allowed = self.own_host(id).admits(from).is_ok();
        if !allowed {
            log::info!("{id}, No connection allowed from: {}", from.ip);
        }
        allowed
    }

    /// Logs, once for each address, that a right was not given, and the setting that gives it.
    pub(crate) fn warn(&mut self, id: SocketId, warning: Warning, ip: IpAddr, request: &Request) {
        if matches!(warning, Warning::NotOurs(NotOurs::Foreign | NotOurs::Page))
            || !self.server.counters.warned.is_new(warning, ip)
        {
            return;
        }
        let trusted = self.server.limits().trusts_proxy(ip);
        match warning {
            Warning::Ident => log::warn!("{id}, Ident of {ip} ignored: only backends have one; see --allowed-ip"),
            Warning::NotOurs(NotOurs::Name) => {
                let host = request.header("host").unwrap_or_default();
                log::warn!("{id}, Host '{}' from {ip} is none of this server's names; if it is, give --host", Printable(host));
            }
            _ if trusted => log::warn!("{id}, The proxy {ip} names no client: let it write X-Forwarded-For"),
            _ => log::warn!("{id}, A request from {ip} was forwarded; if {ip} is your proxy, give --trusted-proxy {ip}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::limits::Limits;

    #[test]
    fn the_host_of_the_listening_address_is_a_name_of_this_host() {
        let server = WebSocketServer::bind(&Address::parse("localhost:0").unwrap(), None, Limits::default()).unwrap();
        assert_eq!(server.server.limits().host, ["localhost"]);
    }
}
