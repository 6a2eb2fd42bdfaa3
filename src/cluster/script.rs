//! Lua scripts on the server. One round trip runs a script by its digest; only a server that does not know it gets the code.

use redis::{
    Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, ToRedisArgs, Value, aio::ConnectionLike,
};

use super::bounds::Rejected;

/// A number that a script gave. The library would also make one of a text, and 0 of what is no number.
pub(super) fn number(value: &Value) -> Result<i64, Rejected> {
    match value {
        Value::Int(number) => Ok(*number),
        _ => Err(Rejected),
    }
}

/// A script and its digest.
pub(super) struct Script {
    code: &'static str,
    digest: String,
}

impl Script {
    pub(super) fn new(code: &'static str) -> Self {
        Self { code, digest: redis::Script::new(code).get_hash().to_owned() }
    }

    /// A call without keys and arguments yet.
    pub(super) fn call(&self) -> ScriptCall<'_> {
        ScriptCall { script: self, keys: Vec::new(), arguments: Vec::new() }
    }
}

/// One call of a script.
pub(super) struct ScriptCall<'a> {
    script: &'a Script,
    keys: Vec<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
}

impl ScriptCall<'_> {
    pub(super) fn key(&mut self, key: impl ToRedisArgs) -> &mut Self {
        key.write_redis_args(&mut self.keys);
        self
    }

    pub(super) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        argument.write_redis_args(&mut self.arguments);
        self
    }

    /// Runs the script, once: a server that does not know its digest has done nothing yet.
    ///
    /// The second attempt is `EVAL`, not `SCRIPT LOAD` and the digest again: the server may forget the script between these
    /// two, too. Then a claim would fail although Redis is there, and two replicas would fetch the same meeting.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        connection: &mut impl ConnectionLike,
    ) -> Result<T, RedisError> {
        match self.command("EVALSHA", &self.script.digest).query_async(connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.command("EVAL", self.script.code).query_async(connection).await
            }
            answer => answer,
        }
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.arguments);
        command
    }
}
