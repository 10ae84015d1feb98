// Package immunity holds the built gateway to what hurt its peers: each known weakness of another gateway, SDK or server
// is a named test, and a corpus of raw requests shows that nothing reaches a server in another form than it was judged in.
// Points is the list, with the tests that answer each.
package immunity

// Point is a weakness that somebody else had, and the tests that show this gateway not to have it.
type Point struct {
	ID     string   // P: seen at peers; B: protocol; C: HTTP; D: identity; F: connectors
	Threat string   // what happened there, with its CVE or issue where it has one
	Tests  []string // folder and name of each test
}

// The corpus of raw frames answers many of them.
const corpus = "conformance/immunity TestEveryFrameIsReadInOneWay"

// Points are all of them. Those about parts that a gateway does not have are left out.
var Points = []Point{
	{"P1", "a request names the program that is run (CVE-2026-42271, CVE-2026-55887, OX Security)", []string{"conformance/immunity TestPeers01NoCommandLineComesOverTheNetwork"}},
	{"P2", "an error of the credential makes a default caller (CVE-2026-12773); a default secret (GHSA-g53w-w6mj-hrpp)", []string{"conformance/immunity TestPeers02NoSecretIsTheSameTwice", "conformance TestWithoutACredentialEverythingIs401"}},
	{"P3", "a header of the client steers an inner hop (mcp-init-host, GHSA-g53w-w6mj-hrpp)", []string{corpus, "gateway/upstream TestTheRequestSaysWhatWasJudgedAndNothingElse"}},
	{"P4", "another body is forwarded than was judged (agentgateway 1.4, zentinel 443, CVE-2026-27896)", []string{corpus, "conformance TestBodiesThatCannotBeReadInOneWayOnlyAreRefused", "conformance TestABodyBeyondTheBoundIsRefused"}},
	{"P5", "a policy reads what is not there and never fires (agentgateway 3092, ToolHive's nested arguments)", []string{"conformance/immunity TestPeers05AForbidSeesWhatIsDeepInTheArgumentsOrIsRefused", "gateway/stages TestAForbidThatCannotBeEvaluatedDenies", "gateway/stages TestPolicySeesTheArgumentsThePlanAndThePlace"}},
	{"P6", "a page in a browser calls tools (CVE-2025-64443, CVE-2026-59950)", []string{"conformance/immunity TestPeers06OutOfTheBoxOnlyThisMachineIsServed", "conformance TestHostAndOriginAreChecked", "gateway/control TestAForeignHostIsRefusedBeforeTheKeyIsLookedAt", corpus}},
	{"P7", "a session's or request's id is taken for its owner (CVE-2026-52869, CVE-2026-52870, agentgateway 2397)", []string{"conformance/immunity TestB5ASessionIsItsCallersAlone", "conformance/immunity TestB12ACallIsCancelledByItsCallerAlone", "gateway/proxy/mcp TestASessionEndsAndIsItsCallersOwn", "gateway/proxy/mcp TestASessionEndsAfterItsLifeHoweverMuchItIsUsed", "gateway/proxy/mcp TestASessionOutlivesARotationUntilItsKeyEnds", "gateway/proxy/mcp TestAnAdminEndsAnAgentsSessions", "gateway/proxy/mcp TestATaskIsItsCallersAlone"}},
	{"P8", "one upstream session for all (ContextForge 4205); the caller's token is passed through", []string{"conformance/immunity TestPeers8AnUpstreamSessionIsOnePrincipalsAndNoTokenGoesThrough", "gateway/upstream TestSessionsAreNeverSharedBetweenPrincipals"}},
	{"P9", "a tool's definition changes once it is trusted (rug pull); a search shows what the list hides (ToolHive 4374)", []string{"conformance TestAToolThatChangesIsHeldUntilAPersonApprovesIt", "gateway/proxy/mcp TestAListShowsWhatPolicyCouldPermitAndNothingElse"}},
	{"P10", "an address within is reached (GHSA-pr64-jmmf-jp54, ContextForge 5410); arguments leave their place in a URL (CVE-2026-29791)", []string{"conformance/immunity TestD4AddressesWithinAreNotDialed", "gateway/upstream TestARebindingNameIsJudgedOnTheAddressThatIsDialed", "gateway/upstream TestARedirectInwardIsNotFollowed", "plugins/openapi TestNoArgumentLeavesItsPlace"}},
	{"P11", "what fails lets pass (ToolHive's rate limits and webhooks)", []string{"conformance/faults TestNoFaultLetsACallPassOrGoUnrecorded", "gateway/pipeline TestRunFailsClosed"}},
	{"P12", "denied and unknown look different to who may not know (ToolHive 5827)", []string{"conformance TestWithoutAGrantDeniedUnknownAndKnownLookAlike"}},
	{"P13", "one server sinks all (Envoy AI Gateway 1924, agentgateway 962)", []string{"conformance/immunity TestPeers13OneServerThatIsDownSinksNoOther", "conformance TestServersThatMisbehaveAreNamedAndTheUseIsSpent"}},
	{"P14", "no permitted tool, and an answer all the same (LiteLLM 32563)", []string{"conformance/immunity TestPeers14WhoMayCallNothingIsToldSoAtTheCall"}},
	{"P15", "enforcement is switched off by whoever may change a setting (AgentCore)", []string{"conformance/immunity TestD8EachOperationIsForItsRolesAlone", "conformance TestASignedRepositoryIsInForce", "conformance TestASecurityEngineerShipsAPolicy"}},
	{"P16", "trees without separation of leaves and nodes; parameters left out or added pass (AGT)", []string{"merkle TestANodeCannotPassAsALeaf", "merkle/intent TestAnInnerNodeIsNoLeafAndALeafOfAnySizeNeedsTheTokensSize", "conformance TestAShownProofMustBeOfThisStepAndThisPlan", "conformance TestOnlyThePlannedArgumentsPass"}},

	{"B1", "headers that mirror the body do not", []string{corpus, "conformance TestHeadersThatContradictTheBodyAreRefused", "conformance TestMirroredParametersMustAgreeWithTheArguments"}},
	{"B2", "members in another case, U+017F, U+212A, twice (CVE-2026-27896)", []string{corpus}},
	{"B3", "batches, null and huge ids, the same id of two clients", []string{corpus, "conformance/immunity TestB3TheSameIDOfTwoClientsIsTwoCalls"}},
	{"B4", "requestState is changed, or shown by another", []string{"gateway/proxy/mcp TestAStateIsGoodOnceForItsOwnCall"}},
	{"B5", "another's session id (CVE-2026-52869)", []string{"conformance/immunity TestB5ASessionIsItsCallersAlone"}},
	{"B6", "names that lead to another server's tool, or look like it", []string{corpus, "gateway/proxy/mcp TestAToolWhoseNameHasTheSeparatorIsNotShadowed", "gateway/catalogue TestNamesThatCouldBeTakenForOthersWait"}},
	{"B7", "a rug pull of description or schema", []string{"conformance TestAToolThatChangesIsHeldUntilAPersonApprovesIt", "gateway/catalogue TestASwapIsSeenAtOneCodePoint"}},
	{"B8", "a remote $ref, a composition bomb", []string{"conformance/immunity TestB8ARemoteReferenceIsNotFollowedAndABombKeepsNobodyBusy", "gateway/catalogue TestSchemasThatCannotBeEnforcedAreRefused"}},
	{"B9", "a private list in a shared cache", []string{"conformance/immunity TestB9ListsArePrivateAndB10CursorsAreNotForged"}},
	{"B10", "a forged cursor", []string{"conformance/immunity TestB9ListsArePrivateAndB10CursorsAreNotForged", "gateway/proxy/mcp TestAListOfManyComesInPagesThatAreTheCallersOwn"}},
	{"B11", "lists show denied tools", []string{"gateway/proxy/mcp TestAListShowsWhatPolicyCouldPermitAndNothingElse"}},
	{"B12", "progress and cancellation of another's request", []string{"conformance/immunity TestB12ACallIsCancelledByItsCallerAlone"}},
	{"B13", "a flood of notifications", []string{"gateway/proxy/mcp TestAServerThatFloodsIsListedOnceInAWhile", "gateway/upstream TestAServerThatSaysTooMuchIsCutAndTold"}},

	{"C1", "request smuggling", []string{corpus, "gateway/proxy TestFramesThatCanBeReadInTwoWaysAreRefused"}},
	{"C2", "requests pipelined behind a stream", []string{"gateway/proxy TestStreamTraps6And7TheConnectionIsServedOn", "gateway/proxy TestStreamTrap2NothingOfAnotherClientIsSeen"}},
	{"C3", "slow senders and readers", []string{corpus, "gateway/proxy TestASlowReaderIsCutOffAlone", "gateway/proxy TestConnectionsOfOneAddressAreBounded"}},
	{"C4", "paths in two spellings", []string{corpus, "gateway/control TestOnlyOneSpellingOfAPathIsRead"}},
	{"C5", "foreign Host and Origin", []string{corpus, "conformance TestHostAndOriginAreChecked"}},
	{"C6", "line ends reach the server's head", []string{corpus, "gateway/upstream TestHeadersThatWouldChangeTheRequestAreRefused"}},
	{"C7", "Connection names headers that were judged", []string{corpus}},
	{"C8", "a bomb under Content-Encoding", []string{corpus, "gateway/upstream TestHostileAnswersEndInOneClearError"}},
	{"C9", "rapid reset and CONTINUATION floods (CVE-2023-44487)", []string{"conformance/immunity TestC9TheDataPortSpeaksNoHTTP2", corpus}},
	{"C10", "ten thousand headers, 413 and 431", []string{corpus}},

	{"D1", "a token of another issuer, for another audience or resource", []string{"gateway/identity/bearer TestWhatIsNotExactlyATokenForThisGatewayIsRefused", "gateway/identity/bearer TestATokenIsForTheAddressThatItNames", "conformance TestWhatIsNoTokenForThisGatewayIsRefusedInTheSameWords"}},
	{"D2", "the caller's token goes on to the server", []string{corpus, "conformance/immunity TestPeers8AnUpstreamSessionIsOnePrincipalsAndNoTokenGoesThrough", "conformance TestNoSecretGoesWhereItDoesNotBelong"}},
	{"D3", "one authorization server's answer is taken for another's (mix-up, RFC 9207)", []string{"gateway/upstream/oauth TestAnAnswerThatIsNotToOurQuestionEndsTheLogin", "gateway/upstream/oauth TestNothingIsAskedOfAnAuthorizationServerThatIsNotTheRightOne", "gateway/identity/bearer TestMetadataOfAnotherIssuerAreNotBelieved"}},
	{"D4", "addresses within, however they are written", []string{"conformance/immunity TestD4AddressesWithinAreNotDialed", "gateway/upstream TestAddressesWrittenOtherwiseAreRefused"}},
	{"D5", "PKCE is left out", []string{"gateway/upstream/oauth TestALoginIsRefusedWithoutPKCE"}},
	{"D6", "a flood of unknown key ids, keys that are stale", []string{"gateway/identity/bearer TestAFloodOfUnknownKeysCostsTheIssuerNextToNothing", "gateway/identity/bearer TestKeysAreUsedWhileTheIssuerIsDownForABoundedTime", "gateway/identity/bearer TestKeysRotateWithoutARestart"}},
	{"D7", "keys are found by trying", []string{"conformance/immunity TestD7NobodyLearnsWhichKeysThereAre"}},
	{"D8", "roles and organisations are passed over (ContextForge 3812, 4405, 5239)", []string{"conformance/immunity TestD8EachOperationIsForItsRolesAlone", "conformance/immunity TestD8NothingOfAnotherOrganisationIsReached"}},

	{"F1", "a connector hangs, dies or prints garbage", []string{"conformance TestAKilledConnectorCostsOneCall", "plugins TestAProcessThatSendsTooMuchOrNonsenseLosesItsSession"}},
	{"F2", "a connector inherits secrets and descriptors", []string{"plugins TestAProcessHasOnlyWhatItWasGiven", "plugins/stdio TestAServerSeesOnlyWhatItWasGiven"}},
	{"F3", "a connector's arguments come from outside", []string{"conformance/immunity TestPeers01NoCommandLineComesOverTheNetwork"}},
}
