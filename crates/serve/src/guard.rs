//! Who may ask.
//!
//! On loopback any process of this machine may, but no page of another site that a browser shows: such a page reaches us
//! under its own name (DNS rebinding), or says where it is from. On another address who asks must know the token: it is in
//! the address that the program prints, and from then on in a cookie.
//!
//! Clients of the Trace Server Protocol are other programs, so what they ask (below `/tsp/`, and only where it was switched on) has rules of its own:
//!
//! * A webview of VS Code is a page, and says so: its origin is `vscode-webview://…`. It may ask, and read the answer (CORS). No page of the
//!   network can have that origin: a browser gives a page the scheme that it was loaded by, and that one is VS Code's
//!   own, for what its extensions show, which run as the user anyway. The origins of VS Code in a browser
//!   (`https://….vscode-cdn.net`), and of other pages on this machine, say nothing of the kind: they stay out.
//! * A program that is no browser says no origin; it is a process of this machine, as above.
//! * Such clients keep no cookies and add no query, so the token is a part of the path: `/tsp/TOKEN/api`.

use std::io::{self, Read};
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::error::ApiError;
use crate::tsp::TspError;

const COOKIE: &str = "havana_token";

/// A secret that who asks must know.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A new one, of 128 random bits.
    ///
    /// # Errors
    /// Where the system gives none.
    pub fn new() -> io::Result<Token> {
        let mut bytes = [0; 16];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Token(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// The text of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is that, in a time that does not tell how much of it is.
    fn is(&self, text: &str) -> bool {
        let (a, b) = (self.0.as_bytes(), text.as_bytes());
        a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The rules of a server.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) token: Option<Token>,
    pub(crate) port: u16,
    /// Whether the Trace Server Protocol is spoken.
    pub(crate) tsp: bool,
}

/// What the path of each of its requests begins with.
const TSP: &str = "/tsp/";
/// What the origin of VS Code's webviews begins with.
const WEBVIEW: &str = "vscode-webview://";

impl Guard {
    /// Below which path the Trace Server Protocol is; none: it is not spoken.
    pub(crate) fn tsp_base(&self) -> Option<String> {
        let token = self.token.as_ref().map_or(String::new(), |token| format!("{}/", token.as_str()));
        self.tsp.then(|| format!("{TSP}{token}api"))
    }

    /// The origin of a webview that may ask at this path.
    fn webview<'a>(&self, headers: &'a HeaderMap, path: &str) -> Option<&'a HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        let is_webview = origin.as_bytes().starts_with(WEBVIEW.as_bytes());
        (self.tsp && path.starts_with(TSP) && is_webview).then_some(origin)
    }

    /// Gives the cookie that is to be set, where one is.
    fn check(&self, headers: &HeaderMap, path: &str, query: &str) -> Result<Option<HeaderValue>, ApiError> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.ok_or_else(|| ApiError::Request("the request names no host".into()))?;
        if self.token.is_none() && !self.is_loopback(host) {
            return Err(ApiError::Forbidden("this server answers to the name of this machine's loopback only"));
        }
        let webview = self.webview(headers, path).is_some();
        if let Some(origin) = headers.get(header::ORIGIN).filter(|_| !webview) {
            let its = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
            if its != Some(host) {
                return Err(ApiError::Forbidden("a page of another site may not ask"));
            }
        }
        let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
        let navigates = headers.get("sec-fetch-mode").is_some_and(|mode| mode == "navigate");
        if site == Some(b"cross-site") && !navigates && !webview {
            return Err(ApiError::Forbidden("a page of another site may not ask"));
        }
        let Some(token) = &self.token else { return Ok(None) };
        if cookies(headers).any(|(name, value)| name == COOKIE && token.is(value)) {
            return Ok(None);
        }
        let in_path = path.strip_prefix(TSP).and_then(|rest| rest.split('/').next());
        if self.tsp && in_path.is_some_and(|given| token.is(given)) {
            return Ok(None);
        }
        let given = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == "token");
        if given.is_some_and(|(_, value)| token.is(value)) {
            let cookie = format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict", token.as_str());
            return Ok(HeaderValue::from_str(&cookie).ok());
        }
        Err(ApiError::Forbidden("the token is missing or wrong: open the address that the program printed"))
    }

    /// Whether a Host is this machine's loopback, at our port.
    fn is_loopback(&self, host: &str) -> bool {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, port.parse().ok()),
            _ => (host, Some(80)),
        };
        let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let is_loopback = name.parse::<IpAddr>().map_or(name.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback());
        is_loopback && port == Some(self.port)
    }
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

/// Lets through who may ask, and says what a browser may do with the answer.
pub(crate) async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let cookie = match guard.check(request.headers(), path, query) {
        Ok(cookie) => cookie,
        Err(error) if guard.tsp && path.starts_with(TSP) => return TspError::from(error).into_response(),
        Err(error) => return error.into_response(),
    };
    let webview = guard.webview(request.headers(), path).cloned();
    let mut response = match &webview {
        // What a browser asks before a request that is more than a plain form: what may be in it.
        Some(_) if request.method() == Method::OPTIONS => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        ("content-security-policy", CONTENT),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(origin) = webview {
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE")),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("accept, content-type")),
            (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin),
            (header::VARY, HeaderValue::from_static("origin")),
        ] {
            headers.insert(name, value);
        }
    }
    if let Some(cookie) = cookie {
        headers.insert(header::SET_COOKIE, cookie);
    }
    response
}

const CONTENT: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; \
                       frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(token: bool, headers: &[(&'static str, &str)], query: &str) -> u16 {
        check_at(Guard { token: token.then(|| Token("secret".into())), port: 7000, tsp: false }, headers, "/", query)
    }

    fn check_at(guard: Guard, headers: &[(&'static str, &str)], path: &str, query: &str) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        match guard.check(&map, path, query) {
            Ok(_) => 200,
            Err(error) => error.into_response().status().as_u16(),
        }
    }

    #[test]
    fn loopback_answers_to_its_own_names_only() {
        for host in ["127.0.0.1:7000", "localhost:7000", "LOCALHOST:7000", "[::1]:7000", "127.1.2.3:7000"] {
            assert_eq!(check(false, &[("host", host)], ""), 200, "{host}");
        }
        for host in ["evil.example:7000", "127.0.0.1:7001", "127.0.0.1", "localhost.evil:7000", "10.0.0.1:7000", "::1"]
        {
            assert_eq!(check(false, &[("host", host)], ""), 403, "{host}");
        }
        assert_eq!(check(false, &[], ""), 400);
    }

    #[test]
    fn no_page_of_another_site_may_ask() {
        let host = ("host", "localhost:7000");
        assert_eq!(check(false, &[host, ("origin", "http://localhost:7000")], ""), 200);
        for origin in ["http://evil.example", "null", "http://localhost:7001"] {
            assert_eq!(check(false, &[host, ("origin", origin)], ""), 403);
        }
        assert_eq!(check(false, &[host, ("sec-fetch-site", "cross-site")], ""), 403);
        assert_eq!(check(false, &[host, ("sec-fetch-site", "same-origin")], ""), 200);
        assert_eq!(check(false, &[host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], ""), 200);
    }

    #[test]
    fn elsewhere_the_token_must_be_known() {
        let host = ("host", "kvm-07:7000");
        assert_eq!(check(true, &[host], ""), 403);
        assert_eq!(check(true, &[host], "a=b&token=secret"), 200);
        assert_eq!(check(true, &[host], "token=Secret"), 403);
        assert_eq!(check(true, &[host], "token="), 403);
        assert_eq!(check(true, &[host, ("cookie", "x=y; havana_token=secret")], ""), 200);
        assert_eq!(check(true, &[host, ("cookie", "havana_token=no")], ""), 403);
    }

    #[test]
    fn vs_codes_webviews_may_ask_where_it_is_switched_on() {
        let host = ("host", "localhost:7000");
        let check = |tsp, origin: &str, path: &str| {
            let headers = [host, ("origin", origin), ("sec-fetch-site", "cross-site")];
            check_at(Guard { token: None, port: 7000, tsp }, &headers, path, "")
        };
        assert_eq!(check(true, "vscode-webview://0a1b2c", "/tsp/api/traces"), 200);
        assert_eq!(check(false, "vscode-webview://0a1b2c", "/tsp/api/traces"), 403);
        assert_eq!(check(true, "vscode-webview://0a1b2c", "/api/dataset"), 403);
        for origin in ["https://vscode-webview.example", "https://x.vscode-cdn.net", "null", "http://localhost:3000"] {
            assert_eq!(check(true, origin, "/tsp/api/traces"), 403, "{origin}");
        }
    }

    #[test]
    fn the_protocols_token_is_in_the_path() {
        let guard = |tsp| Guard { token: Some(Token("secret".into())), port: 7000, tsp };
        assert_eq!(guard(true).tsp_base().as_deref(), Some("/tsp/secret/api"));
        assert_eq!(guard(false).tsp_base(), None);
        let check = |tsp, path| check_at(guard(tsp), &[("host", "kvm-07:7000")], path, "");
        assert_eq!(check(true, "/tsp/secret/api/traces"), 200);
        assert_eq!(check(true, "/tsp/Secret/api/traces"), 403);
        assert_eq!(check(true, "/tsp/api/traces"), 403);
        assert_eq!(check(true, "/api/secret/traces"), 403);
        assert_eq!(check(false, "/tsp/secret/api/traces"), 403);
    }
}
