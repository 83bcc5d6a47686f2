//! PHP's ini form: sections, `key = value`, `key[] = value`, quotes, `;` and `#` comments, `${NAME}`.
//!
//! PHP counterpart: `parse_ini_string` and the `applyEnv` before it. Libraries for ini files read
//! another dialect (no `key[]`, other comments and quotes) and keep no line numbers for errors.

use crate::error::InvalidValue;

/// One `key = value`.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// Counted from 1.
    pub line: usize,
    /// The section it stands in; empty before the first.
    pub section: String,
    /// The key, without `[]`.
    pub key: String,
    /// The value, without quotes and comment.
    pub value: String,
}

/// Reads a whole file. An error names the line.
pub fn parse(text: &str, variable: &impl Fn(&str) -> Option<String>) -> Result<Vec<Entry>, InvalidValue> {
    let mut section = String::new();
    let mut entries = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let failed = |problem: InvalidValue| InvalidValue::from(format!("line {}: {problem}", index + 1));
        let line = line.trim();
        if line.is_empty() || line.starts_with([';', '#']) {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let (name, _) = rest.split_once(']').ok_or_else(|| failed("a section lacks its ]".into()))?;
            section = name.trim().to_owned();
            continue;
        }
        let (key, value) = line.split_once('=').ok_or_else(|| failed("neither [section] nor key = value".into()))?;
        let key = key.trim();
        let value = parse_value(value.trim(), variable).map_err(failed)?;
        let key = key.strip_suffix("[]").unwrap_or(key).trim().to_owned();
        entries.push(Entry { line: index + 1, section: section.clone(), key, value });
    }
    Ok(entries)
}

/// A value in quotes ends at its quote, a bare one at a comment.
fn parse_value(text: &str, variable: &impl Fn(&str) -> Option<String>) -> Result<String, InvalidValue> {
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '\''));
    let Some(quote) = quote else {
        let bare = text.split(';').next().unwrap_or_default();
        return Ok(substitute(bare.trim_end(), variable));
    };
    let (value, rest) = text[1..].split_once(quote).ok_or_else(|| format!("the value lacks its closing {quote}"))?;
    match rest.trim_start() {
        "" => Ok(substitute(value, variable)),
        rest if rest.starts_with([';', '#']) => Ok(substitute(value, variable)),
        _ => Err(format!("text after the closing {quote}").into()),
    }
}

/// `${NAME}` becomes the variable's value; an unknown one becomes nothing.
fn substitute(text: &str, variable: &impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((name, after)) = after.split_once('}') else { return out + "${" + after };
        out.push_str(&variable(name).unwrap_or_default());
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Result<Vec<(String, String)>, InvalidValue> {
        let variable = |name: &str| (name == "LOG_FILE").then(|| "/var/log/x.log".to_owned());
        let entries = parse(text, &variable)?;
        Ok(entries.into_iter().map(|entry| (format!("{}/{}", entry.section, entry.key), entry.value)).collect())
    }

    #[test]
    fn phps_own_file_is_read() {
        let text = "#\n# Configuration\n#\n[websocketserver]\nadress = 'ws://localhost:8095'\nlogfile = ${LOG_FILE}\n\
            console = true ; always\ncertFile =\npkFile = \n[jsauth] \ncookie_name = \"PHP;SESSID\"\n\
            allowedIP[] = 10.0.0.1\nx = '${LOG_FILE}' # and ${NOTHING}\r\n";
        let expected = [
            ("websocketserver/adress", "ws://localhost:8095"),
            ("websocketserver/logfile", "/var/log/x.log"),
            ("websocketserver/console", "true"),
            ("websocketserver/certFile", ""),
            ("websocketserver/pkFile", ""),
            ("jsauth/cookie_name", "PHP;SESSID"),
            ("jsauth/allowedIP", "10.0.0.1"),
            ("jsauth/x", "/var/log/x.log"),
        ];
        let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(values(text).unwrap(), expected);
    }

    #[test]
    fn errors_name_the_line() {
        for (text, problem) in [
            ("\n[x", "line 2: a section lacks its ]"),
            ("[x]\n\nhello", "line 3: neither [section] nor key = value"),
            ("a = 'b", "line 1: the value lacks its closing '"),
            ("a = \"b\" c", "line 1: text after the closing \""),
        ] {
            assert_eq!(values(text).unwrap_err().to_string(), problem);
        }
    }
}
