//! systemd's ways of quoting: command lines, assignments and environment files.
//!
//! Sources: <https://www.freedesktop.org/software/systemd/man/latest/systemd.syntax.html#Quoting>,
//! <https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html#Command%20lines>,
//! <https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#EnvironmentFile=>

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// The words of a line, without their quotes and with what is escaped in its place.
///
/// # Errors
/// When a quote isn't closed, or an escape isn't one.
pub fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = line.chars().peekable();
    loop {
        while rest.next_if(|next| next.is_whitespace()).is_some() {}
        if rest.peek().is_none() {
            return Ok(words);
        }
        words.push(word(&mut rest).map_err(|reason| format!("{reason} in `{line}`"))?);
    }
}

fn word(rest: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let mut word = String::new();
    let mut quote = None;
    while let Some(next) = rest.peek().copied() {
        if quote.is_none() && next.is_whitespace() {
            return Ok(word);
        }
        rest.next();
        match (next, quote) {
            ('\\', _) => word.push(escaped(rest)?),
            ('"' | '\'', None) => quote = Some(next),
            (closing, Some(open)) if closing == open => quote = None,
            (other, _) => word.push(other),
        }
    }
    match quote {
        Some(open) => Err(format!("a {open} isn't closed")),
        None => Ok(word),
    }
}

/// What stands for the escape whose backslash has been read.
fn escaped(rest: &mut Peekable<Chars<'_>>) -> Result<char, String> {
    let next = rest.next().ok_or("a backslash ends the line")?;
    let digits = |rest: &mut Peekable<Chars<'_>>, count: usize, radix: u32, first: &str| {
        let mut digits = first.to_owned();
        while digits.len() < count
            && let Some(digit) = rest.next_if(|next| next.is_digit(radix))
        {
            digits.push(digit);
        }
        let number = u32::from_str_radix(&digits, radix).ok();
        number.and_then(char::from_u32).ok_or_else(|| format!("\\{next}{digits} is no character"))
    };
    match next {
        'a' => Ok('\x07'),
        'b' => Ok('\x08'),
        'f' => Ok('\x0c'),
        'n' => Ok('\n'),
        'r' => Ok('\r'),
        't' => Ok('\t'),
        'v' => Ok('\x0b'),
        's' => Ok(' '),
        '\\' | '"' | '\'' => Ok(next),
        'x' => digits(rest, 2, 16, ""),
        'u' => digits(rest, 4, 16, ""),
        'U' => digits(rest, 8, 16, ""),
        '0'..='7' => digits(rest, 3, 8, &next.to_string()),
        other => Err(format!("\\{other} is no escape")),
    }
}

/// A command: its words, with variables replaced. `$NAME` that is a word alone becomes as many words as its value has,
/// `${NAME}` stays one; `$$` and `%%` are single ones. Only `%n`, the unit's name, is replaced of the specifiers.
///
/// # Errors
/// When a quote isn't closed, or a specifier isn't known.
pub fn command(line: &str, unit: &str, environment: &BTreeMap<String, String>) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    for word in split(line)? {
        let word = specifiers(&word, unit)?;
        match word.strip_prefix('$').filter(|name| is_name(name)) {
            Some(name) => {
                let value = environment.get(name).map(String::as_str).unwrap_or_default();
                words.extend(value.split_whitespace().map(str::to_owned));
            }
            None => words.push(variables(&word, environment)),
        }
    }
    Ok(words)
}

fn is_name(text: &str) -> bool {
    let first = text.chars().next();
    first.is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && text.chars().all(|next| next.is_ascii_alphanumeric() || next == '_')
}

fn specifiers(word: &str, unit: &str) -> Result<String, String> {
    let mut replaced = String::new();
    let mut rest = word.chars();
    while let Some(next) = rest.next() {
        match (next, next == '%') {
            (_, false) => replaced.push(next),
            (_, true) => match rest.next() {
                Some('%') => replaced.push('%'),
                Some('n') => replaced.push_str(unit),
                other => return Err(format!("%{} is not known here", other.map_or(String::new(), String::from))),
            },
        }
    }
    Ok(replaced)
}

fn variables(word: &str, environment: &BTreeMap<String, String>) -> String {
    let mut replaced = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once('$') {
        replaced.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            replaced.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            replaced.push_str(environment.get(name).map(String::as_str).unwrap_or_default());
            rest = after;
        } else {
            replaced.push('$');
        }
    }
    replaced + rest
}

/// The variables of an environment file. In double quotes a backslash keeps `"`, `\`, `` ` `` and `$` as they are, in
/// single quotes everything stands for itself; lines that are no assignment are passed over.
pub fn environment_file(text: &str) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    let mut rest = text.chars().peekable();
    while rest.peek().is_some() {
        let mut name = String::new();
        while let Some(next) = rest.next_if(|next| *next != '=' && *next != '\n') {
            name.push(next);
        }
        let name = name.trim().to_owned();
        if rest.next() != Some('=') {
            continue;
        }
        if name.starts_with(['#', ';']) {
            while rest.next_if(|next| *next != '\n').is_some() {}
            continue;
        }
        let value = file_value(&mut rest);
        if is_name(&name) {
            variables.push((name, value));
        }
    }
    variables
}

/// A value up to the end of its line.
fn file_value(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut value = String::new();
    let mut quote = None;
    // What stands outside quotes loses the blanks at its end.
    let mut kept = 0;
    while let Some(next) = rest.next() {
        match (next, quote) {
            ('\n', None) => break,
            ('\\', Some('\'')) => value.push('\\'),
            ('\\', _) => match rest.next() {
                Some('\n') | None => {}
                Some(kept @ ('"' | '\\' | '`' | '$')) => value.push(kept),
                Some(other) if quote.is_some() => value.extend(['\\', other]),
                Some(other) => value.push(other),
            },
            ('"' | '\'', None) => quote = Some(next),
            (closing, Some(open)) if closing == open => {
                quote = None;
                kept = value.len();
            }
            (blank, None) if blank.is_whitespace() && value.is_empty() => {}
            (other, _) => value.push(other),
        }
        if quote.is_some() || !next.is_whitespace() {
            kept = value.len();
        }
    }
    value.truncate(kept);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> BTreeMap<String, String> {
        [("ONE", "one"), ("TWO", "'two words'")].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    #[test]
    fn words_are_split_as_systemd_splits_them() {
        let split = |line| split(line).expect("words");
        assert_eq!(
            split(r#"/bin/echo "a b" 'c "d"' e\sf "\x41\n\101""#),
            ["/bin/echo", "a b", "c \"d\"", "e f", "A\nA"]
        );
        assert_eq!(split(r#"A="x y"  'B=z'"#), ["A=x y", "B=z"]);
        assert_eq!(split(r#" "" "#), [""]);
        assert!(super::split("a \"b").is_err() && super::split(r"a \q").is_err());
    }

    #[test]
    fn commands_have_their_variables_replaced() {
        let command = |line| command(line, "web.service", &environment()).expect("a command");
        assert_eq!(
            command("/bin/echo $ONE ${TWO} $TWO x${ONE}y"),
            ["/bin/echo", "one", "'two words'", "'two", "words'", "xoney"]
        );
        assert_eq!(
            command(r#"/bin/echo "100%%" "$$HOME" %n $NONE ${NONE}"#),
            ["/bin/echo", "100%", "$HOME", "web.service", ""]
        );
        assert!(super::command("/bin/echo %q", "web.service", &environment()).is_err());
    }

    #[test]
    fn environment_files_keep_what_is_quoted() {
        let text =
            "# comment=1\nA=\"x \\\"y\\\" \\$HOME \\\\ \\n\"\n; B=2\nC='it''s'  \nD= plain text  \nnothing\nE=a\\\nb\n";
        let pairs = environment_file(text);
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("A", r#"x "y" $HOME \ \n"#), ("C", "its"), ("D", "plain text"), ("E", "ab")]);
    }
}
