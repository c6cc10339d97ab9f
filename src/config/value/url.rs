//! URLs and JSON pointers.

use super::Wrong;

/// Checks an absolute http or https URL with a host; hands it back as written.
pub(crate) fn http_url(text: &str) -> Result<String, Wrong> {
    url_with_scheme(text, &["http", "https"], "https://api.example.com/health")
}

/// Checks an absolute URL with one of `schemes` and a host; hands it back as written.
pub(crate) fn url_with_scheme(text: &str, schemes: &[&str], example: &str) -> Result<String, Wrong> {
    let help = format!("write the whole URL, as in `{example}`");
    if text.chars().any(|character| character.is_whitespace() || character.is_control()) {
        return Err(Wrong::new("has blanks or control characters in it", "write them percent-encoded, as in `%20`"));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(Wrong::new("is not an absolute URL", help));
    };
    if !schemes.contains(&scheme.to_ascii_lowercase().as_str()) {
        return Err(Wrong::new(format!("has another scheme than {}", schemes.join(" or ")), help));
    }
    if scheme.eq_ignore_ascii_case("unix") {
        if !rest.starts_with('/') || rest.len() == 1 {
            return Err(Wrong::new("names no socket by its whole path", help));
        }
        return Ok(text.to_owned());
    }
    // The URL standard's parser would skip further slashes and take the path for the host.
    if rest.starts_with(['/', '\\']) {
        return Err(Wrong::new("has no host", help));
    }
    let parsed =
        reqwest::Url::parse(text).map_err(|error| Wrong::new(format!("is not a URL ({error})"), help.clone()))?;
    if parsed.host_str().is_none_or(str::is_empty) {
        return Err(Wrong::new("has no host", help));
    }
    if parsed.port() == Some(0) {
        return Err(Wrong::new("has port 0, which nothing listens on", help));
    }
    if parsed.fragment().is_some() {
        return Err(Wrong::new("has a fragment, which is never sent", "leave out the `#` and what follows it"));
    }
    Ok(text.to_owned())
}

/// Checks a JSON pointer (RFC 6901); empty is the whole document.
pub(crate) fn pointer(text: &str) -> Result<String, Wrong> {
    if !text.is_empty() && !text.starts_with('/') {
        let mended = text.trim_start_matches(['$', '.']).replace('.', "/");
        return Err(Wrong::new("does not begin with a slash", format!("write a JSON pointer, as in `/{mended}`")));
    }
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '~' && !matches!(characters.next(), Some('0' | '1')) {
            return Err(Wrong::new("has a `~` that escapes nothing", "write `~0` for a tilde and `~1` for a slash"));
        }
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for text in ["http://a", "https://u:p@a.example:8443/x?y=z", "http://[::1]:80/", "HTTP://A/"] {
            assert!(http_url(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "a.example/health",
            "ftp://a/",
            "http://",
            "http:///x",
            "http://a b/",
            "http://a:99999/",
            "http://a/#x",
            "http://a:0/",
        ] {
            assert!(http_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pointers() {
        for text in ["", "/version", "/a/0/b~1c"] {
            assert!(pointer(text).is_ok(), "{text}");
        }
        assert_eq!(pointer(".app.version").expect_err("not one").help, "write a JSON pointer, as in `/app/version`");
        assert!(pointer("/a~2").is_err());
    }
}
