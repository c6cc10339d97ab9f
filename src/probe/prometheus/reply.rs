//! Decodes the HTTP API's replies ("HTTP API", "Range vectors" in Prometheus' documentation).
//!
//! Our own decoding: whatever makes an answer less than whole has to be seen. Warnings mean that something is left out;
//! a native histogram stands in a field of its own; an error's text says what to mend.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, SeqAccess, Visitor},
};

/// Why a reply is not a whole answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// Not the API's JSON.
    #[error("status {status} and no valid answer: {reason}")]
    Malformed {
        /// The HTTP status.
        status: u16,
        /// Where decoding ended.
        reason: String,
    },
    /// The server says that it failed.
    #[error("{kind}: {message}")]
    Refused {
        /// The API's word for the kind of error.
        kind: String,
        /// Its message.
        message: String,
    },
    /// Something is left out.
    #[error("the answer is partial: {0}")]
    Partial(String),
    /// Not raw samples.
    #[error("the answer is a {0}, not raw samples")]
    NotRaw(String),
    /// Native histograms have no counters to difference.
    #[error("{series} is a native histogram; select a classic counter, or the classic buckets")]
    NativeHistogram {
        /// Its name.
        series: String,
    },
}

/// The series of an answer.
pub(super) type Points = Vec<RawSeries>;

/// One series and its raw samples, oldest first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RawSeries {
    labels: Vec<(String, String)>,
    pub(super) points: Vec<RawPoint>,
}

/// One raw sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RawPoint {
    /// The server's timestamp.
    pub(super) at_millis: i64,
    pub(super) value: f64,
}

impl RawSeries {
    #[cfg(test)]
    pub(super) fn new(labels: &[(&str, &str)], points: Vec<RawPoint>) -> Self {
        let owned = |(label, value): &(&str, &str)| ((*label).to_owned(), (*value).to_owned());
        Self { labels: labels.iter().map(owned).collect(), points }
    }

    pub(super) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter().map(|(label, value)| (label.as_str(), value.as_str()))
    }

    pub(super) fn label(&self, wanted: &str) -> Option<&str> {
        self.labels().find(|(label, _)| *label == wanted).map(|(_, value)| value)
    }
}

/// Decodes the reply that came with HTTP status `status`.
pub(super) fn decode(status: u16, body: &[u8]) -> Result<Points, ReplyError> {
    let reply: Reply<'_> =
        serde_json::from_slice(body).map_err(|error| ReplyError::Malformed { status, reason: error.to_string() })?;
    if reply.status != "success" {
        let kind = if reply.error_type.is_empty() { reply.status } else { reply.error_type };
        return Err(ReplyError::Refused { kind: kind.into_owned(), message: reply.error.into_owned() });
    }
    if !(200..300).contains(&status) {
        return Err(ReplyError::Malformed { status, reason: "it claims success all the same".into() });
    }
    if let Some(warning) = reply.warnings.into_iter().flatten().next() {
        return Err(ReplyError::Partial(warning.into_owned()));
    }
    let data = reply.data.ok_or_else(|| ReplyError::Malformed { status, reason: "no data is in it".into() })?;
    let result = match data.result {
        Some(result) if data.result_type == "matrix" => result,
        _ => return Err(ReplyError::NotRaw(data.result_type.into_owned())),
    };
    let mut points = Vec::with_capacity(result.len());
    for series in result {
        if series.histograms.is_some() {
            let name = series.metric.0.iter().find(|(label, _)| label == crate::probe::selector::NAME_LABEL);
            let series = name.map_or_else(|| "a series".to_owned(), |(_, name)| name.clone());
            return Err(ReplyError::NativeHistogram { series });
        }
        points.push(RawSeries { labels: series.metric.0, points: series.values });
    }
    Ok(points)
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Option<Data<'a>>,
    #[serde(borrow, default, rename = "errorType")]
    error_type: Cow<'a, str>,
    #[serde(borrow, default)]
    error: Cow<'a, str>,
    #[serde(borrow, default)]
    warnings: Option<Vec<Cow<'a, str>>>,
}

struct Data<'a> {
    result_type: Cow<'a, str>,
    /// [`None`] unless it is a matrix: other results have other shapes.
    result: Option<Vec<MatrixSeries>>,
}

#[derive(Deserialize)]
struct MatrixSeries {
    metric: Labels,
    #[serde(default)]
    values: Vec<RawPoint>,
    #[serde(default)]
    histograms: Option<IgnoredAny>,
}

struct Labels(Vec<(String, String)>);

impl<'de: 'a, 'a> Deserialize<'de> for Data<'a> {
    /// The type stands before the result in every server's answer, but JSON does not promise it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Fields<'a> {
            #[serde(borrow, rename = "resultType")]
            result_type: Cow<'a, str>,
            #[serde(borrow)]
            result: &'a serde_json::value::RawValue,
        }
        let Fields { result_type, result } = Fields::deserialize(deserializer)?;
        let result = if result_type == "matrix" {
            Some(serde_json::from_str(result.get()).map_err(de::Error::custom)?)
        } else {
            None
        };
        Ok(Self { result_type, result })
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Labels;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("labels")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut labels = Vec::with_capacity(map.size_hint().unwrap_or(8));
                while let Some(label) = map.next_entry()? {
                    labels.push(label);
                }
                Ok(Labels(labels))
            }
        }
        deserializer.deserialize_map(Map)
    }
}

impl<'de> Deserialize<'de> for RawPoint {
    /// `[seconds, "value"]`
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pair;
        impl<'de> Visitor<'de> for Pair {
            type Value = RawPoint;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a time in seconds and a value as text")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<RawPoint, A::Error> {
                let seconds: f64 = pair.next_element()?.ok_or_else(|| de::Error::invalid_length(0, &self))?;
                let text: Cow<'de, str> = pair.next_element()?.ok_or_else(|| de::Error::invalid_length(1, &self))?;
                let value =
                    text.parse().map_err(|_| de::Error::invalid_value(de::Unexpected::Str(&text), &"a number"))?;
                Ok(RawPoint { at_millis: millis(seconds), value })
            }
        }
        deserializer.deserialize_seq(Pair)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates; such a time is refused as stale or ahead")]
fn millis(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(result: &str) -> String {
        format!(r#"{{"status":"success","data":{{"resultType":"matrix","result":[{result}]}}}}"#)
    }

    #[test]
    fn raw_samples_with_their_own_times() {
        let body = matrix(
            r#"{"metric":{"__name__":"up","job":"a\"b"},"values":[[1767781800.123,"1"],[1767781801,"NaN"]]},
               {"metric":{},"values":[[1,"+Inf"]]}"#,
        );
        let points = decode(200, body.as_bytes()).expect("an answer");
        assert_eq!(points[0].label("job"), Some("a\"b"));
        assert_eq!(points[0].points[0], RawPoint { at_millis: 1_767_781_800_123, value: 1.0 });
        assert!(points[0].points[1].value.is_nan());
        assert!(points[1].points[0].value.is_infinite());
        assert_eq!(decode(200, matrix("").as_bytes()), Ok(Vec::new()));
    }

    #[test]
    fn what_is_less_than_a_whole_answer() {
        let histogram = matrix(r#"{"metric":{"__name__":"latency"},"histograms":[[1,{"count":"2","sum":"3"}]]}"#);
        for (status, body, expected) in [
            (
                422,
                r#"{"status":"error","errorType":"execution","error":"too many samples"}"#,
                "execution: too many samples",
            ),
            (503, r#"{"status":"error","errorType":"timeout","error":"slow"}"#, "timeout: slow"),
            (200, r#"{"status":"error","error":"odd"}"#, "error: odd"),
            (502, "<html>", "status 502 and no valid answer: expected value at line 1 column 1"),
            (200, "", "status 200 and no valid answer: EOF while parsing a value at line 1 column 0"),
            (500, &matrix(""), "status 500 and no valid answer: it claims success all the same"),
            (200, r#"{"status":"success"}"#, "status 200 and no valid answer: no data is in it"),
            (
                200,
                r#"{"status":"success","warnings":["store gone"],"data":{"resultType":"matrix","result":[]}}"#,
                "the answer is partial: store gone",
            ),
            (
                200,
                r#"{"data":{"result":[1,"2"],"resultType":"scalar"},"status":"success"}"#,
                "the answer is a scalar, not raw samples",
            ),
            (200, &histogram, "latency is a native histogram; select a classic counter, or the classic buckets"),
        ] {
            let error = decode(status, body.as_bytes()).expect_err(body);
            assert_eq!(error.to_string(), expected);
        }
        assert!(decode(200, matrix(r#"{"metric":{},"values":[[1,"one"]]}"#).as_bytes()).is_err());
        assert!(decode(200, matrix(r#"{"metric":{},"values":[[1]]}"#).as_bytes()).is_err());
    }
}
