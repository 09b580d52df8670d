//! Executing: what happens to a record once the world can know of it. See [`crate::execution`].

use scal3::Hash;
use tlog::LeafIndex;

use super::Authority;
use super::authorise::{Answer, AuthoriseError};
use crate::execution::{ExecuteError, Execution, Settled, UnpublishedError};
use crate::submission::{Appended, Until};

impl Authority {
    /// The same authority, with executors. Clones that were made before have none.
    #[must_use]
    pub fn with_execution(self, execution: Execution) -> Authority {
        Authority { execution: execution.into(), ..self }
    }

    /// Executes the record at a place, or tells what came of it before. The caller must let it run to its end.
    pub async fn execute(&self, index: LeafIndex) -> Result<Settled, ExecuteError> {
        self.execution.run(self, index).await
    }

    /// Takes an answer to a challenge, and executes what was authorised if it is published in time.
    ///
    /// Where the class has an executor, the record is waited for until it is published, within the log's patience,
    /// unless the answer asks for no more than `sequenced`. Whatever keeps it from being executed takes nothing back: the
    /// record is in the log, and [`Authority::execute`] may be asked later.
    pub async fn authorise_and_execute(
        &self,
        challenge: Hash,
        mut answer: Answer,
    ) -> Result<(Appended, Option<Settled>), AuthoriseError> {
        let opened = self.inner.challenges.peek(&challenge, self.now())?;
        let executes = answer.until > Until::Sequenced && self.execution.has(&opened.presented.class);
        if executes {
            answer.until = Until::Witnessed;
        }
        let appended = self.authorise(challenge, answer).await?;
        if !executes {
            return Ok((appended, None));
        }
        match self.execute(appended.index).await {
            Ok(settled) => Ok((appended, Some(settled))),
            Err(ExecuteError::Unpublished(UnpublishedError::NotPublished)) => Ok((appended, None)),
            Err(error) => {
                tracing::warn!(index = appended.index.get(), %error, "a record was logged, and not executed");
                Ok((appended, None))
            }
        }
    }
}
