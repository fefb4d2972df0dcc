//! Static files: what is beneath the directory of `--root`.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use percent_encoding::percent_decode_str;
use tokio::task::spawn_blocking;
use tower_http::services::fs::{
    Backend, DefaultServeDirFallback, ServeDir, ServeFileSystemResponseBody, TokioBackend, TokioFile,
};

use super::http::CHUNK;

/// What is read of a file, piece by piece.
pub(super) type FileBody = ServeFileSystemResponseBody;

/// What `tower-http` 0.7.1 says of a part of an empty file, which has no byte 0.
const NOTHING: &str = "bytes 0-0/0";

/// The files beneath a directory.
#[derive(Clone)]
pub(super) struct Files(ServeDir<DefaultServeDirFallback, Beneath>);

impl Files {
    /// Those beneath `root`, which must be a directory now.
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        if !std::fs::metadata(root)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let files = ServeDir::with_backend(root, Beneath(root.into()));
        // RFC 9110 section 14.2: "A server MAY ignore the Range header field."
        Ok(Self(files.with_buf_chunk_size(CHUNK).ignore_multi_range_requests(true)))
    }

    /// What GET and HEAD are answered with; `None` if there is no such file. A directory has what its `index.html` has.
    pub(super) async fn respond(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Option<io::Result<Response<FileBody>>> {
        let target = Uri::from(uri.path_and_query().filter(|target| may_be_shown(target.path()))?.clone());
        // It gets into the header field `Location` of a redirection.
        if !target.to_string().bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let mut headers = headers.clone();
        let if_range = headers.remove(header::IF_RANGE);
        let is_current = match &if_range {
            Some(validator) => self.has_tag(&target, validator).await,
            None => true,
        };
        if !(is_current && wants_range(method, &headers)) {
            headers.remove(header::RANGE);
        }
        let mut response = match self.call(method.clone(), target, headers).await {
            Ok(response) if response.status() == StatusCode::NOT_FOUND => return None,
            Ok(response) => response,
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) =>
            {
                return None;
            }
            Err(error) => return Some(Err(error)),
        };
        if response.headers().get(header::CONTENT_RANGE).is_some_and(|range| range == NOTHING) {
            *response.status_mut() = StatusCode::OK;
            response.headers_mut().remove(header::CONTENT_RANGE);
        }
        let headers = response.headers_mut();
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if let Some(text) = kind.strip_prefix("text/").filter(|text| !text.contains(';'))
            && let Ok(kind) = HeaderValue::from_str(&format!("text/{text}; charset=utf-8"))
        {
            headers.insert(header::CONTENT_TYPE, kind);
        }
        // What is kept is asked for again, and answered with 304 if it is the same.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        Some(Ok(response))
    }

    async fn call(&self, method: Method, uri: Uri, headers: HeaderMap) -> io::Result<Response<FileBody>> {
        let mut request = Request::new(());
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
        self.0.clone().try_call(request).await
    }

    /// Whether that is the file's entity tag now.
    // RFC 9110 section 13.1.5: "A recipient of an If-Range header field MUST ignore the Range header field if the If-Range condition evaluates as false."
    // A date is for files without a tag, of which there are none here but those of before 1970.
    async fn has_tag(&self, target: &Uri, tag: &HeaderValue) -> bool {
        let head = self.call(Method::HEAD, target.clone(), HeaderMap::new()).await;
        head.is_ok_and(|head| head.headers().get(header::ETAG) == Some(tag))
    }
}

/// Whether a part of the file is asked for, in the one unit that there is.
// RFC 9110 section 14.2: "A server MUST ignore a Range header field received with a request method that is unrecognized or for which range handling is not defined.
// For this specification, GET is the only method for which range handling is defined." "An origin server MUST ignore a Range header field that contains a range unit it
// does not understand."
fn wants_range(method: &Method, headers: &HeaderMap) -> bool {
    let is_bytes = |range: &HeaderValue| range.as_bytes().starts_with(b"bytes=");
    *method == Method::GET && headers.get(header::RANGE).is_some_and(is_bytes)
}

/// Whether a path may lead to what is shown: no segment of it begins with a dot (but `.well-known` of RFC 8615), holds a
/// backslash or a control character, or is empty. So it leads nowhere but down, whatever it is decoded by.
fn may_be_shown(path: &str) -> bool {
    let Ok(path) = percent_decode_str(path).decode_utf8() else { return false };
    let Some(path) = path.strip_prefix('/') else { return false };
    let path = path.strip_prefix(".well-known/").unwrap_or(path);
    let is_plain = |segment: &str| {
        !segment.is_empty()
            && !segment.starts_with('.')
            && !segment.contains(|c: char| c == '\\' || c.is_control())
    };
    // The last one is empty behind the slash of a directory.
    path.is_empty() || path.strip_suffix('/').unwrap_or(path).split('/').all(is_plain)
}

/// Opens what is beneath a directory, wherever links lead to.
#[derive(Clone)]
struct Beneath(Arc<Path>);

impl Beneath {
    /// The path of a file or directory, without links. What lies elsewhere, or is neither, is not there.
    // No link is followed when it is opened by that path, unless somebody replaces a directory by one in between, and who can do that can write files there anyway.
    async fn resolve(self, path: PathBuf) -> io::Result<(PathBuf, std::fs::Metadata)> {
        let resolve = move || {
            // The root itself may be a link, and be set to another directory while the server runs.
            let (root, path) = (self.0.canonicalize().ok()?, path.canonicalize().ok()?);
            let metadata = path.metadata().ok()?;
            // To open a FIFO would wait for its other end.
            (path.starts_with(root) && (metadata.is_file() || metadata.is_dir())).then_some((path, metadata))
        };
        spawn_blocking(resolve).await?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

type Later<T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send>>;

impl Backend for Beneath {
    type File = TokioFile;
    type Metadata = std::fs::Metadata;
    type OpenFuture = Later<TokioFile>;
    type MetadataFuture = Later<std::fs::Metadata>;

    fn open(&self, path: PathBuf) -> Self::OpenFuture {
        let resolved = self.clone().resolve(path);
        Box::pin(async {
            let (path, metadata) = resolved.await?;
            if metadata.is_dir() {
                return Err(io::ErrorKind::NotFound.into());
            }
            TokioBackend.open(path).await
        })
    }

    fn metadata(&self, path: PathBuf) -> Self::MetadataFuture {
        let resolved = self.clone().resolve(path);
        Box::pin(async { Ok(resolved.await?.1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_lead_anywhere() {
        for path in [
            "/",
            "/index.html",
            "/a/b/",
            "/a/b.c.d",
            "/%E7%B4%85%E9%AE%AD.txt",
            "/a%20b",
            "/a..b",
            "/.well-known/security.txt",
        ] {
            assert!(may_be_shown(path), "{path}");
        }
        for path in [
            "",
            "*",
            "a",
            "/.",
            "/..",
            "/../a",
            "/a/../b",
            "/a/..",
            "/%2e%2e/a",
            "/a/%2E%2e/b",
            "/..%2fa",
            "/a%2f..%2fb",
            "/.git/config",
            "/a/.env",
            "/%2eenv",
            "/a/.well-known/b",
            "/.well-known/.env",
            "/.well-known",
            "/.well-known/../a",
            "//a",
            "/%2fa",
            "/a//b",
            "/a//",
            "//",
            "/a\\b",
            "/..%5ca",
            "/%5c%5chost",
            "/a%00",
            "/a%00.html",
            "/a%0a",
            "/%ff",
            "/C:%5Cwindows",
        ] {
            assert!(!may_be_shown(path), "{path}");
        }
    }

    #[test]
    fn a_range_is_for_get_and_in_bytes() {
        let of =
            |range: &'static str| HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static(range))]);
        assert!(wants_range(&Method::GET, &of("bytes=0-1")));
        assert!(!wants_range(&Method::HEAD, &of("bytes=0-1")));
        assert!(!wants_range(&Method::GET, &of("lines=0-1")));
        assert!(!wants_range(&Method::GET, &HeaderMap::new()));
    }
}
