package tests

import "testing"

// TestTicks counts the ticks of agents that have trouble with their collectors:
// what one costs, no other may pay for. It runs before the tests that keep the
// whole machine busy, which would cost ticks too; the first, which does so itself,
// runs alone.
func TestTicks(t *testing.T) {
	t.Run("FaultsOfPluginsCostOnlyThemselves", faultsOfPluginsCostOnlyThemselves)
	t.Run("OneCrashLoopInTwenty", oneCrashLoopInTwenty)
	t.Run("FaultsOfFilesCostOnlyThemselves", faultsOfFilesCostOnlyThemselves)
	t.Run("NothingOutlivesAnAgentThatIsKilled", nothingOutlivesAnAgentThatIsKilled)
	t.Run("PluginsAreReplacedUnderARunningAgent", pluginsAreReplacedUnderARunningAgent)
	t.Run("ANuisanceCostsOnlyItself", aNuisanceCostsOnlyItself)
}
