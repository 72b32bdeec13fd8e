//! Which requests go where: rules by path, and what is done with what they take.

/// Takes the requests whose path matches one of the patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// With `*` for any characters and `?` for one; upper and lower case differ.
    pub paths: Vec<String>,
    pub action: Action,
}

/// What is done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// To one of the target groups (by ARN), as often as its weight says.
    Forward(Vec<(String, u32)>),
    Redirect(Redirect),
    Fixed {
        status: u16,
        content_type: String,
        body: String,
    },
}

/// A redirect; its parts may name the request's as `#{protocol}`, `#{host}`, `#{port}`, `#{path}` and `#{query}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    pub permanent: bool,
    pub protocol: String,
    pub host: String,
    pub port: String,
    pub path: String,
    pub query: String,
}

/// A request's address, taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub protocol: &'a str,
    pub host: &'a str,
    pub port: u16,
    pub path: &'a str,
    pub query: &'a str,
}

impl Rule {
    pub fn takes(&self, path: &str) -> bool {
        self.paths.iter().any(|pattern| matches(pattern.as_bytes(), path.as_bytes()))
    }
}

/// Whether the text is what the pattern says. Linear: the last `*` takes one character more whenever the rest doesn't fit.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read, mut star) = (0, 0, None);
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == text[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((after, from)) = star else { return false };
                star = Some((after, from + 1));
                at = after + 1;
                read = from + 1;
            }
        }
    }
    pattern[at..].iter().all(|rest| *rest == b'*')
}

/// One of the groups, by weight; none when all weigh nothing.
pub fn choose(groups: &[(String, u32)]) -> Option<&str> {
    let total: u64 = groups.iter().map(|(_, weight)| u64::from(*weight)).sum();
    if total == 0 {
        return None;
    }
    let mut point = rand::random_range(0..total);
    groups.iter().find_map(|(group, weight)| {
        let weight = u64::from(*weight);
        if point < weight {
            return Some(group.as_str());
        }
        point -= weight;
        None
    })
}

impl Redirect {
    /// Where it leads. `port_of` says where a port that AWS knows really is.
    pub fn location(&self, asked: Asked<'_>, port_of: impl Fn(u16) -> u16) -> String {
        let fill = |text: &str| {
            text.replace("#{protocol}", asked.protocol)
                .replace("#{host}", asked.host)
                .replace("#{port}", &asked.port.to_string())
                .replace("#{path}", asked.path.trim_start_matches('/'))
                .replace("#{query}", asked.query)
        };
        let protocol = fill(&self.protocol).to_ascii_lowercase();
        let port = fill(&self.port);
        let port = port.parse().map_or(port, |known| port_of(known).to_string());
        let usual = if protocol == "https" { "443" } else { "80" };
        let port = if port == usual { String::new() } else { format!(":{port}") };
        let query = fill(&self.query);
        let query = if query.is_empty() { query } else { format!("?{query}") };
        format!("{protocol}://{}{port}{}{query}", fill(&self.host), fill(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_documentation_says() {
        for (pattern, path, wanted) in [
            ("/img/*", "/img/picture.jpg", true),
            ("/img/*", "/img/", true),
            ("/img/*", "/img", false),
            ("/img/*/pics", "/img/a/b/pics", true),
            ("/is?/*", "/isa/b", true),
            ("/is?/*", "/is/b", false),
            ("*", "/", true),
            ("/API/*", "/api/x", false),
            ("/a*b*c", "/axxbxxbc", true),
            ("/a*b*c", "/axxbxxb", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), path.as_bytes()), wanted, "{pattern} {path}");
        }
    }

    #[test]
    fn weights_decide_how_often() {
        let groups = [("old".to_owned(), 90), ("new".to_owned(), 10), ("none".to_owned(), 0)];
        let mut new = 0;
        for _ in 0..10_000 {
            match choose(&groups) {
                Some("new") => new += 1,
                Some("old") => {}
                other => panic!("{other:?} was chosen"),
            }
        }
        // Ten percent, within more than ten standard deviations.
        assert!((700..1300).contains(&new), "{new} of 10000");
        assert_eq!(choose(&[("idle".to_owned(), 0)]), None);
    }

    #[test]
    fn redirects_keep_what_they_name() {
        let redirect = Redirect {
            permanent: true,
            protocol: "HTTPS".into(),
            host: "#{host}".into(),
            port: "443".into(),
            path: "/#{path}".into(),
            query: "#{query}".into(),
        };
        let asked = Asked { protocol: "http", host: "127.77.0.1", port: 8080, path: "/a/b", query: "c=1" };
        assert_eq!(redirect.location(asked, |_| 8443), "https://127.77.0.1:8443/a/b?c=1");
        assert_eq!(redirect.location(Asked { query: "", ..asked }, |port| port), "https://127.77.0.1/a/b");
    }
}
